"""What one stage hands the next: files, their formats and their records."""
