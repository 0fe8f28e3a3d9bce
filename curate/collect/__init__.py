"""Listings and pictures come in."""
