"""Pictures of profiles and checkpoint schedules."""
