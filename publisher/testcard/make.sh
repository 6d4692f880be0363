#!/usr/bin/env bash
# Makes testcard.webm, which the publisher plays when it is given no file: bars, a ball that moves, a clock of the
# media's own time, and a short tone at every full second, when the ball is at its top or bottom. Twenty seconds that can be
# repeated without a break: the ball's way and the tones close, and there is as much sound as picture.
# Needs an ffmpeg with libvpx, libopus and drawtext, and the font DejaVu Sans Mono.
set -euo pipefail
cd "$(dirname "$0")"
seconds=20
rate=30
# Samples that libopus puts in front: with them the packets come out even.
lookahead=312
# Three quarters of the time the tone is off, so that the loop's seam lies in silence.
tone="0.25*sin(2*PI*660*t)*lt(mod(t,1),0.25)*min(1,min(100*mod(t,1),100*(0.25-mod(t,1))))"
# Ten rounds of two seconds each: at every even second the ball is at the top, at every odd one at the bottom.
ball="x='(W-w)/2+200*sin(PI*t)':y='(H-h)/2-120*cos(PI*t)'"
clock="drawtext=font='DejaVu Sans Mono':text='%{pts\:hms}':fontsize=44:fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=10:x=(w-tw)/2:y=(h-th)/2"
title="drawtext=font='DejaVu Sans Mono':text='Roundtable test card':fontsize=20:fontcolor=white:x=(w-tw)/2:y=h-34"
ffmpeg -hide_banner -loglevel warning -y \
	-f lavfi -i "smptehdbars=size=640x360:rate=$rate:duration=$seconds" \
	-f lavfi -i "color=c=white:size=48x48:rate=$rate:duration=$seconds,format=yuva420p,geq=lum=235:cb=128:cr=128:a='255*lt(hypot(X-23.5,Y-23.5),22)'" \
	-f lavfi -i "aevalsrc=exprs='$tone':sample_rate=48000:duration=$((seconds + 1))" \
	-filter_complex "[0]eq=brightness=-0.25[bars];[bars][1]overlay=$ball,$clock,$title,format=yuv420p[picture];[2]atrim=end_sample=$((seconds * 48000 - lookahead))[sound]" \
	-map '[picture]' -map '[sound]' -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
	-c:v libvpx -b:v 130k -maxrate 400k -bufsize 400k -g $((2 * rate)) -keyint_min $((2 * rate)) -quality good -cpu-used 1 \
	-auto-alt-ref 0 -lag-in-frames 0 \
	-c:a libopus -b:a 24k -ac 1 -application audio -frame_duration 20 -vbr constrained \
	testcard.webm
