"""What makes decisions happen: the only code that touches the outside."""
