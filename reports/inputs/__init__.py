"""What an organisation states about its sites, contracts, prices and teams; one model for each kind of statement."""
