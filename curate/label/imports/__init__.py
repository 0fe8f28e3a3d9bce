"""Votes and labels that other tools hold move in."""
