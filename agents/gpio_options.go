package agents

import (
	"rollcall/gpio"
	"rollcall/reports"
)

// gpioOptions are the options of the gpio agent, and its set-up document.
type gpioOptions struct {
	Chip       string                `yaml:"chip,omitempty" doc:"label, name or path of the chip; sim: one in memory; default: that of a Raspberry Pi's header"`
	Outputs    map[string]gpioOutput `yaml:"outputs,omitempty" doc:"outputs by name"`
	Inputs     map[string]gpioInput  `yaml:"inputs,omitempty" doc:"inputs by name"`
	PWM        map[string]gpioPWM    `yaml:"pwm,omitempty" doc:"pulse-width modulated outputs by name"`
	Servos     map[string]gpioServo  `yaml:"servos,omitempty" doc:"model servos by name"`
	Interlocks [][]string            `yaml:"interlocks,omitempty" doc:"groups of outputs of which no two are ever on together"`
	DeadTime   reports.Duration      `yaml:"dead_time,omitempty" doc:"how long all outputs of an interlock are off before another one goes on; default: 100ms"`
}

// gpioOutput is an output in the set-up.
type gpioOutput struct {
	Pin       string           `yaml:"pin" doc:"25, GPIO25, pin22 (header position) or the line's name"`
	As        gpioPreset       `yaml:"as,omitempty" doc:"relay, led or valve: what it is for; sets its class, gives a led its blink patterns, and has relays and valves off when the service stops"`
	Label     string           `yaml:"label,omitempty" doc:"what people call it; default: the name"`
	Initial   gpioInitial      `yaml:"initial,omitempty" doc:"off, on, keep (the level that is there) or restore (what it was last told): what it is when it is taken; default: off"`
	Safe      gpioSafe         `yaml:"safe,omitempty" doc:"off, on or keep: what it is left as when the service stops; default: off, or keep with initial keep or restore where nothing limits how long it is on"`
	Pull      gpio.Bias        `yaml:"pull,omitempty" doc:"up, down or none; default: as it is"`
	ActiveLow bool             `yaml:"active_low,omitempty" doc:"on is low"`
	Drive     gpio.Drive       `yaml:"drive,omitempty" doc:"push-pull, open-drain or open-source; default: push-pull"`
	MaxOn     reports.Duration `yaml:"max_on,omitempty" doc:"it goes off after this time, whoever switched it on; 0: never"`
	Pulse     reports.Duration `yaml:"pulse,omitempty" doc:"how long a pulse is if the command does not say; default: 500ms with single"`
	Single    bool             `yaml:"single,omitempty" doc:"one-shot: every ON is a pulse"`
	Failsafe  *gpioFailsafe    `yaml:"failsafe,omitempty" doc:"what it does when nobody can control it any more"`
}

// gpioFailsafe is what an output does when the broker or its controller is gone.
type gpioFailsafe struct {
	After reports.Duration `yaml:"after" doc:"how long the broker or the controller must be gone"`
	Value gpioSafeValue    `yaml:"value,omitempty" doc:"off, on or hold; default: off"`
	Watch string           `yaml:"watch,omitempty" doc:"status topic of the controller; offline or an empty message there counts as gone, like a lost broker"`
	Renew bool             `yaml:"renew,omitempty" doc:"a set must come at least this often, else the controller counts as gone"`
}

// gpioInput is an input in the set-up.
type gpioInput struct {
	Pin         string            `yaml:"pin" doc:"25, GPIO25, pin22 (header position) or the line's name"`
	As          gpioPreset        `yaml:"as,omitempty" doc:"button, pir, door, leak or meter: what it is for; sets class and defaults"`
	Label       string            `yaml:"label,omitempty" doc:"what people call it; default: the name"`
	Pull        gpio.Bias         `yaml:"pull,omitempty" doc:"up, down or none; default: as it is"`
	ActiveLow   *bool             `yaml:"active_low,omitempty" doc:"on is low; default: false, but true for a button, leak or meter with pull up"`
	OnChange    gpioOnChange      `yaml:"on_change,omitempty" doc:"true, false, or a topic that edges are published on as well; default: true, but false for a meter"`
	Scan        reports.Duration  `yaml:"scan,omitempty" doc:"how often it is read as well; 0: not, but every 10s with on_change: false"`
	Debounce    *reports.Duration `yaml:"debounce,omitempty" doc:"how long a level must last to count; default: 0, but 20ms for a button, 50ms for a door, 100ms for a leak, 5ms for a meter"`
	Edge        gpioEdge          `yaml:"edge,omitempty" doc:"both, rising or falling: which edges are told of; one alone, without scan, makes the input an event, which has no state; default: both"`
	Count       *bool             `yaml:"count,omitempty" doc:"count its rising edges: count, total (survives restarts) and rate; default: false, but true for a meter"`
	LongPress   *reports.Duration `yaml:"long_press,omitempty" doc:"how long it must be on to be a long press; 0: none are told of; default: 0, but 1s for a button"`
	DoubleClick *reports.Duration `yaml:"double_click,omitempty" doc:"within which two presses are a double click; 0: none are told of; default: 0, but 300ms for a button"`
}

// gpioPWM is a pulse-width modulated output in the set-up.
type gpioPWM struct {
	Pin      string           `yaml:"pin" doc:"25, GPIO25, pin22 (header position) or the line's name"`
	Label    string           `yaml:"label,omitempty" doc:"what people call it; default: the name"`
	Initial  float64          `yaml:"initial,omitempty" doc:"percent when it is taken; default: 0"`
	Safe     float64          `yaml:"safe,omitempty" doc:"percent that it is left at when the service stops: 0, or 100 in software; default: 0"`
	Period   reports.Duration `yaml:"period,omitempty" doc:"of the modulation; default: 1ms in hardware, 10ms in software"`
	Polarity gpioPolarity     `yaml:"polarity,omitempty" doc:"normal or inverted; default: normal"`
	Fade     reports.Duration `yaml:"fade,omitempty" doc:"how long a change from 0 to 100 takes if the command does not say; default: at once"`
	Min      float64          `yaml:"min,omitempty" doc:"duty in percent that the least value above 0 is; default: 0"`
	Max      *float64         `yaml:"max,omitempty" doc:"duty in percent that 100 is; default: 100"`
	Gamma    float64          `yaml:"gamma,omitempty" doc:"exponent from value to duty, 2.2 to 2.8 for lamps; default: 1"`
	Driver   gpioPWMDriver    `yaml:"driver,omitempty" doc:"hardware, software, or pwmchipN/M for a channel by name; default: hardware where the pin has a channel, else software"`
	Failsafe *gpioFailsafe    `yaml:"failsafe,omitempty" doc:"what it does when nobody can control it any more: off is 0, on is 100"`
}

// gpioServo is a model servo in the set-up.
type gpioServo struct {
	Pin      string           `yaml:"pin" doc:"25, GPIO25, pin22 (header position) or the line's name"`
	Label    string           `yaml:"label,omitempty" doc:"what people call it; default: the name"`
	Initial  *float64         `yaml:"initial,omitempty" doc:"angle when it is taken; default: no pulses until one is set"`
	MinAngle float64          `yaml:"min_angle,omitempty" doc:"least angle in degrees; default: 0"`
	MaxAngle *float64         `yaml:"max_angle,omitempty" doc:"greatest angle in degrees; default: 180"`
	MinPulse reports.Duration `yaml:"min_pulse,omitempty" doc:"pulse at the least angle; default: 1ms"`
	MaxPulse reports.Duration `yaml:"max_pulse,omitempty" doc:"pulse at the greatest angle; default: 2ms"`
	Period   reports.Duration `yaml:"period,omitempty" doc:"between pulses; default: 20ms"`
	Driver   gpioPWMDriver    `yaml:"driver,omitempty" doc:"as of pwm"`
}
