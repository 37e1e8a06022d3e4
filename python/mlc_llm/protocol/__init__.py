# The objects that requests give, and the fields that they take.
"""OpenAI's protocol as typed objects."""
