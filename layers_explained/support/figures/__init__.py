"""What the walkthroughs draw: drawing.py has the parts, then one file a walkthrough."""
