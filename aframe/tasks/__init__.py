"""What each stage needs and makes, as law tasks."""
