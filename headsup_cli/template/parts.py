"""Names of the default template's parts and regions."""

PARTS = ("skin", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "mouth_inner")
REGIONS = ("face", "eyes", "mouth", "ears", "scalp", "neck", "torso")
