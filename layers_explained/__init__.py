"""Every layer as a walkthrough: mathematics, a case by hand, four implementations compared, typical mistakes."""
