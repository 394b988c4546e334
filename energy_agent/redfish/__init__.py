"""One Redfish service over HTTP, for the node's meters and the building's."""
