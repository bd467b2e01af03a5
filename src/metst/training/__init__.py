"""From labelled or simulated motion to a trained model: what is learnt from, the loop, and what the model finds."""
