"""Statistics on numpy arrays: short pure functions, each returning a small frozen value.

A difference is `a` minus `b`, a ratio `a` over `b`: pass the candidate first. Degenerate input raises
`NotEnoughData` with a reason; what is returned is always finite. scipy is imported inside the functions;
`meta`, and `linear`, need statsmodels (the `stats` extra), the rest does not.
"""
