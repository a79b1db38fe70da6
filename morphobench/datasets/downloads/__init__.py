"""Files from the network: fetched with resume, held to their first arrival, named by the catalogue of sources."""
