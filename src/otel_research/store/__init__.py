"""Where captured spans live: the contract (`base`), one file per backend, and URLs to name them."""
