"""Figures and one self-contained HTML page for a finished evaluation."""
