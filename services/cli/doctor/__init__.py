"""`ratchet doctor`: checks a deployment from its settings, and says in words what is wrong and what to do."""
