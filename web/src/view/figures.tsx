/** How the network carries the call, in figures. */
import type { Room } from "../room/room";
import { percent, rate, title } from "./format";
import { text } from "./text";

export function FiguresPanel({ room }: { room: Room }) {
  const { sent, roundTripMs, uplinkLoss } = room.figures.value;
  const joinMs = room.joinMs.value;
  const received = room.participants.value.flatMap((participant) =>
    participant.figures.value.map((figures) => ({ name: participant.name.value, ...figures })),
  );
  return (
    <div class="figures" tabIndex={0} role="region" aria-label={text.figures}>
      <dl>
        <div>
          <dt>{text.roundTrip}</dt>
          <dd>{rate(roundTripMs)} ms</dd>
        </div>
        <div>
          <dt>{text.uplinkLoss}</dt>
          <dd>{percent(uplinkLoss)}</dd>
        </div>
        {joinMs !== undefined && (
          <div data-join-ms={joinMs}>
            <dt>{text.joinTime}</dt>
            <dd>{joinMs} ms</dd>
          </div>
        )}
      </dl>
      {sent.length > 0 && (
        <table>
          <caption>{text.sent}</caption>
          <Head columns={[text.track, text.rate, text.frames]} />
          <tbody>
            {sent.map(({ track, codec, isWanted, kbitPerS, framesPerS, width, height }) => (
              <tr key={track} data-sent={track}>
                <th scope="row">
                  {title(track)}
                  <small>
                    {codec}
                    {width && height ? ` ${width} × ${height}` : ""}
                  </small>
                </th>
                <td>{isWanted ? rate(kbitPerS) : text.unwanted}</td>
                <td>{isWanted ? rate(framesPerS) : ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {received.length > 0 && (
        <table>
          <caption>{text.received}</caption>
          <Head columns={[text.track, text.rate, text.frames, text.loss, text.repaired, text.delay]} />
          <tbody>
            {received.map(({ name, ...measured }) => {
              const { track, codec, figures, shownPerS, delayMs, bufferMs, width, height } = measured;
              const { counters } = figures;
              return (
                <tr key={`${name}/${track}`} data-received={track} data-from={name} data-figures={JSON.stringify(measured)}>
                  <th scope="row">
                    {name}: {title(track)}
                    <small>
                      {codec}
                      {width && height ? ` ${width} × ${height}` : ""}
                    </small>
                  </th>
                  <td>{rate(figures.kbitPerS)}</td>
                  <td>{rate(shownPerS ?? figures.framesPerS)}</td>
                  <td>{percent(figures.loss)}</td>
                  <td>{counters.framesFromParity + counters.framesFromRedundancy + counters.objectsFetched}</td>
                  <td>{delayMs ? `${rate(delayMs.p50)} / ${rate(delayMs.p95)} ms` : bufferMs !== undefined ? `${bufferMs} ms` : ""}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </div>
  );
}

function Head({ columns }: { columns: readonly string[] }) {
  return (
    <thead>
      <tr>
        {columns.map((column) => (
          <th scope="col" key={column}>
            {column}
          </th>
        ))}
      </tr>
    </thead>
  );
}
