"""Changes on their way to browsers: coalesced, numbered messages per region through Web PubSub."""
