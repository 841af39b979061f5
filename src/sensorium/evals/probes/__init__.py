"""What frozen features hold: probes that are fitted in closed form."""
