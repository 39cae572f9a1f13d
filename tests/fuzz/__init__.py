"""Bad inputs, drawn from a seed, for every command, file format and public function: python -m fuzz."""
