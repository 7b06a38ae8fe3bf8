"""An OpenID Connect issuer for development: real signatures and flows, demo users, no passwords."""
