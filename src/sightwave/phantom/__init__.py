"""A seer whose brain we know: pictures, captions, a tiny CLIP, simulated EEG and its ideal observer."""
