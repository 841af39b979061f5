"""Runs behind HTTP: what an OpenAI client asks for, search, prediction."""
