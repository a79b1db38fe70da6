"""Ranking, tables and a static page from the committed results."""
