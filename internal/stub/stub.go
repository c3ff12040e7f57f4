package stub

const TODO = "stub"
