"""What people read: the terminal's blocks. Every number carries its unit, its n and, where estimated, its interval."""
