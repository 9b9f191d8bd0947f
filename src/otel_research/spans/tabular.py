"""What is a table can be one in every library: Polars, Arrow, pandas, and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_research.errors import MissingExtra

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class Tabular:
    """Mixed into results: one method, `to_polars`, gives the others."""

    __slots__ = ()

    def to_polars(self) -> pl.DataFrame:
        """The result as a frame; its columns are documented where it is made."""
        raise NotImplementedError

    def to_arrow(self) -> pa.Table:
        """The same as an Arrow table: same columns, same rows, None as null."""
        return self.to_polars().to_arrow()

    def to_pandas(self) -> Any:
        """The same as a pandas DataFrame: same columns, same rows; numbers that are missing are NaN there.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtra("pandas", "pandas") from error
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        """The frame as a table for a notebook; Polars escapes its cells."""
        return self.to_polars()._repr_html_()
