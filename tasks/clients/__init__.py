"""Ways to services outside, for packs; they know no environment, and every failure says whether to try again."""
