"""Engines that aggregations may run on besides Polars: DuckDB and Spark, one file each; `chosen` finds one."""
