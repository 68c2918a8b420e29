"""The hand detector: one network for boxes, sides and 21 keypoints."""
