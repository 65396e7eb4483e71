"""Whether records are what they say: verified as files, and made again."""
