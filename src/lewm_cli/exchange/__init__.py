"""Recordings of other tools: what a source holds, made into a recording; and recordings written for other tools."""
