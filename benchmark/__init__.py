"""AmendBench: how well can a trained vision model be amended?"""

__version__ = "0.1.0"
