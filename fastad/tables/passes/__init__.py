"""Passes over op tables: table to table, and what is counted of one."""
