"""What each kind of component is: small protocols that a class fits by shape, without inheriting."""
