"""The three foreign APIs, the pages and the operator's calls: translation only, no rules, no queries."""
