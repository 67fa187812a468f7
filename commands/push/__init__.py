"""`push`: a trained backbone on the Hugging Face hub, in the format of timm."""
