"""The verbs: what makes jobs move."""
