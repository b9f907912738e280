"""Models: tokenizer with chat template and pad token, adapters, quantization, export."""
