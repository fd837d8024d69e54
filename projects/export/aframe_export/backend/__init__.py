"""Models for a server's Python backend; they import nothing of ours where they are copied to."""
