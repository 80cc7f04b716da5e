"""Rows of finished runs, and how sure their differences are."""
