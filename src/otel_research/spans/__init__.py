"""What a captured span is: its columns, its record on the way in, its rows on the way out."""
