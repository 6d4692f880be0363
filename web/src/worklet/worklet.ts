/** Everything that runs on the audio thread. */
import "./capture";
import "./playback";
