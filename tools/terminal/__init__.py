"""What every command shares with its terminal: options, output, errors."""
