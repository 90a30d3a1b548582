"""Figures and tables for papers, from a results folder."""
