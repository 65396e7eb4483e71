"""Networks, and ways to reach into them: heads, features, layers."""
