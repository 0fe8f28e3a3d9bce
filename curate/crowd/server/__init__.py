"""The crowd we host: MTurk's requester protocol, worker pages, store, rules, keys."""
