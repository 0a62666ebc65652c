"""Our own API, three foreign ones, the pages, the gate and the operator's calls: translation only, no rules."""
