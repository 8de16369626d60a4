"""What the pages share: shell, language, numbers, colours, charts, cards."""
