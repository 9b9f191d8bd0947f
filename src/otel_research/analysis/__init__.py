"""Frame in, frozen result out: every number of the package, and no input or output."""
